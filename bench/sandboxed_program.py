"""What runs inside a sandbox: limits itself, then runs a program that it reads, and says how that ended.

It is handed to Python as text, and finds nothing of manyshot there.
"""

import json
import math
import os
import resource
import sys


def main() -> None:
    """Run the program; `started`, and the verdict, go to what was the output."""
    asked = json.loads(sys.stdin.buffer.read())
    program, secret, user = (asked[name] for name in ("program", "secret", "user"))
    write, leave, told = os.write, os._exit, os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = math.ceil(used.ru_utime + used.ru_stime) + asked["cpu_seconds"]
    for limit, most in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, asked["memory"]),
        (resource.RLIMIT_NPROC, asked["processes"]),
        (resource.RLIMIT_FSIZE, asked["files"]),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    write(told, b"started\n")
    try:
        exec(compile(program, "<program>", "exec"), {})
    except BaseException as error:  # whatever it raises, SystemExit too
        verdict = f"failed {type(error).__name__}"
    else:
        verdict = f"passed {secret}"
    write(told, verdict.encode())
    leave(0)


main()
