"""SMB from Python, for tests that need more than smbclient: handles that stay
open, share modes, change notification.

    import smbpy
    conn = smbpy.connect('pool')                 # as the first user
    handle = conn.create('dir\\\\file', DesiredAccess=smbpy.ALL, CreateDisposition=
                         smbpy.OPEN_IF)
    conn.write(handle, b'hello', 0)
    ...
    conn.close(handle)

Where and who comes from the environment that pool_up of tests/lib.sh sets (or
`. D/env` of quickstart.sh). The methods are those of Samba's own binding,
samba.samba3.libsmb_samba_internal.Conn. Errors are samba.NTSTATUSError.
"""

import os

from samba import credentials
from samba.samba3 import libsmb_samba_internal
from samba.samba3 import param

READ = 0x00120089
WRITE = 0x00120116
DELETE = 0x00010000
ALL = 0x001f01ff
MAXIMUM = 0x02000000

# create dispositions
SUPERSEDE, OPEN, CREATE, OPEN_IF, OVERWRITE, OVERWRITE_IF = range(6)

SHARE_NONE = 0
SHARE_ALL = 7

# create options
DIRECTORY = 0x1
NON_DIRECTORY = 0x40
DELETE_ON_CLOSE = 0x1000


def connect(share, user=None, password=None):
    lp = param.get_context()
    lp.load(os.environ['MRMR_SMB_CONF'])
    lp.set('smb ports', os.environ['MRMR_PORT'])
    creds = credentials.Credentials()
    creds.guess(lp)
    creds.set_username(user or os.environ['MRMR_USER'])
    creds.set_password(password or os.environ['MRMR_PASSWORD'])
    return libsmb_samba_internal.Conn('127.0.0.1', share, lp, creds)
