"""The four operations with pyinfra's own operations."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import apt, files, systemd

bench = host.data.bench

files.put(
    name="plain file",
    src=StringIO(host.data.plain),
    dest=bench["plainPath"],
    mode="644",
    user="root",
    group="root",
    create_remote_dir=False,
)
files.put(
    name="private file",
    src=StringIO(host.data.private),
    dest=bench["privatePath"],
    mode="600",
    user="root",
    group="root",
    create_remote_dir=False,
)
for path, content in host.data.extra.items():
    files.put(
        name=path, src=StringIO(content), dest=path, mode="644", user="root", group="root", create_remote_dir=False
    )
apt.packages(name="package", packages=[bench["package"]])
systemd.service(name="unit", service=bench["unit"], running=True, enabled=True)
