"""What the share must have: the trial's own memory of it.

Of each file it knows what was acknowledged last (`content`), and which versions
may come back if the member of the file is lost (`versions`): the one that was
reported protected last, and all since. Of an operation that was broken off in
the middle nobody can say whether it has happened: the trial looks, compares
what it sees with the model before and after (`between`), and takes it over.
Of what was deleted it knows which contents a name had (`graves`), for the trash.
"""

WINDOW = 4096


class File:
    def __init__(self, content=b''):
        self.content = content
        self.versions = []           # since the protected one, the newest last
        self.is_protected = False    # versions[0] was reported protected
        self.attributes = {}         # what was set: see trial_clients.KINDS
        self.settled = False         # attributes are those of the last report

    def copy(self):
        """Contents are never changed in place: they are shared."""
        other = File(self.content)
        other.versions = list(self.versions)
        other.is_protected = self.is_protected
        other.attributes = dict(self.attributes)
        other.settled = self.settled
        return other

    def write(self, content):
        self.content = content
        self.versions.append(content)
        self.attributes.pop('written', None)

    def set(self, name, value):
        self.attributes[name] = value
        self.settled = False

    def forget(self, *names):
        for name in names:
            self.attributes.pop(name, None)

    def report_protected(self):
        self.versions = [self.content]
        self.is_protected = True
        self.settled = True

    @property
    def is_sure(self):
        """Whatever member is lost, it comes back as it is."""
        return (self.is_protected and self.settled and
                self.versions == [self.content])

    def may_come_back_as(self, content):
        """As a version, or as what was there between two of them: a change is
        made in several steps, and the protector may have come in the middle."""
        steps = self.versions if self.is_protected else [b''] + self.versions
        return content in steps or any(
            is_between(content, before, after)
            for before, after in zip(steps, steps[1:]))


class Model:
    def __init__(self):
        self.files = {}      # path: File
        self.dirs = {'': {}}     # path: attributes that were set
        self.graves = {}     # path: contents that files had when they went

    def clone(self):
        other = Model()
        other.files = {path: f.copy() for path, f in self.files.items()}
        other.dirs = {path: dict(a) for path, a in self.dirs.items()}
        other.graves = {path: set(c) for path, c in self.graves.items()}
        return other

    # --- what operations do ----------------------------------------------------

    def write(self, path, content):
        self.files.setdefault(path, File()).write(content)

    def bury(self, path):
        if path in self.files:
            grave = self.graves.setdefault(path, set())
            grave.add(self.files[path].content)
            grave.update(self.files[path].versions)

    def remove(self, path):
        self.bury(path)
        del self.files[path]

    def rename(self, old, new):
        self.bury(new)
        self.files[new] = self.files.pop(old)

    def make_dir(self, path):
        self.dirs[path] = {}

    def remove_dir(self, path):
        del self.dirs[path]

    def rename_dir(self, old, new):
        def moved(path):
            if path == old or path.startswith(old + '/'):
                return new + path[len(old):]
            return path
        self.files = {moved(path): f for path, f in self.files.items()}
        self.dirs = {moved(path): a for path, a in self.dirs.items()}

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

    def names(self):
        return set(self.files) | set(self.dirs) - {''}

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
