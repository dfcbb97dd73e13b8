"""What the share must have: the trial's own memory of it.

Of each file it knows what was acknowledged last (`content`), and which versions
may come back if the member of the file is lost (`versions`): the one that was
reported protected last, and all since. Of an operation that was broken off in
the middle nobody can say whether it has happened: the trial looks, compares
what it sees with the model before and after (`between`), and takes it over.
"""

import copy

WINDOW = 4096


class File:
    def __init__(self, content=b''):
        self.content = content
        self.versions = []           # since the protected one, the newest last
        self.is_protected = False    # versions[0] was reported protected
        self.attributes = {}         # what was set: eas, hidden, written
        self.settled = False         # attributes are those of the last report

    def __deepcopy__(self, memo):
        """Contents are never changed in place: they are shared."""
        other = File(self.content)
        other.versions = list(self.versions)
        other.is_protected = self.is_protected
        other.attributes = copy.deepcopy(self.attributes, memo)
        other.settled = self.settled
        return other

    def write(self, content):
        self.content = content
        self.versions.append(content)
        self.attributes.pop('written', None)

    def set(self, name, value):
        self.attributes[name] = value
        self.settled = False

    def report_protected(self):
        self.versions = [self.content]
        self.is_protected = True
        self.settled = True

    def may_come_back_as(self, content):
        return content in self.versions


class Model:
    def __init__(self):
        self.files = {}      # path: File
        self.dirs = {''}

    def clone(self):
        return copy.deepcopy(self)

    # --- what operations do ----------------------------------------------------

    def write(self, path, content):
        self.files.setdefault(path, File()).write(content)

    def remove(self, path):
        del self.files[path]

    def rename(self, old, new):
        self.files[new] = self.files.pop(old)

    def make_dir(self, path):
        self.dirs.add(path)

    def remove_dir(self, path):
        self.dirs.remove(path)

    def rename_dir(self, old, new):
        def moved(path):
            if path == old or path.startswith(old + '/'):
                return new + path[len(old):]
            return path
        self.files = {moved(path): f for path, f in self.files.items()}
        self.dirs = {moved(path) for path in self.dirs}

    # --- questions -------------------------------------------------------------

    def below(self, path):
        """Files and directories in it, at any depth."""
        prefix = path + '/' if path else ''
        return ([name for name in self.files if name.startswith(prefix)],
                [name for name in self.dirs
                 if name.startswith(prefix) and name != path])

    def free_name(self, rng, names, directory):
        for _ in range(20):
            path = join(directory, rng.choice(names))
            if path not in self.files and path not in self.dirs:
                return path
        return None

    def tree(self):
        """{path: content, None for directories}"""
        found = {path: f.content for path, f in self.files.items()}
        found.update({path: None for path in self.dirs if path})
        return found


def join(directory, name):
    return directory + '/' + name if directory else name


def overwritten(content, offset, data):
    """Behind its end there are zeros."""
    content += bytes(max(0, offset - len(content)))
    return content[:offset] + data + content[offset + len(data):]


def cut(content, size):
    return content[:size] + bytes(max(0, size - len(content)))


def is_between(got, before, after):
    """May an operation that was broken off have left this? Every byte is one
    from before or from after, or a zero in what is new."""
    if len(got) > max(len(before), len(after)):
        return False
    before = cut(before, len(got))
    after = cut(after, len(got))
    for at in range(0, len(got), WINDOW):
        end = at + WINDOW
        if got[at:end] in (before[at:end], after[at:end]):
            continue
        if any(g not in (b, a, 0) for g, b, a in
               zip(got[at:end], before[at:end], after[at:end])):
            return False
    return True


def difference(got, wanted):
    """A sentence."""
    if len(got) != len(wanted):
        said = 'it has %d bytes, not %d' % (len(got), len(wanted))
    else:
        said = 'it has %d bytes' % len(got)
    for at in range(0, min(len(got), len(wanted))):
        if got[at] != wanted[at]:
            run = next((i for i in range(at, min(len(got), len(wanted)))
                        if got[i] == wanted[i]), min(len(got), len(wanted)))
            return '%s, and others from %d to %d%s' % (
                said, at, run, ' (zeros)' if not any(got[at:run]) else '')
    return said
