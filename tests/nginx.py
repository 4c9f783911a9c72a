"""A real nginx of one's own: every file it writes is in its folder."""

import os
import pwd

from stack import Process, find_or_build

CONFIGURATION = """
user {user};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
}}
"""


def configured(folder, http):
    """Return an nginx with this in the block ``http`` of its configuration."""
    user = pwd.getpwuid(os.getuid()).pw_name
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, user=user, http=http))
    argv = [find_or_build("nginx"), "-p", folder, "-c", folder / "nginx.conf"]
    return Process("nginx", argv, folder / "nginx.log")
