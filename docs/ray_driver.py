"""Drive a pipeline on a Ray cluster: python ray_driver.py my.toml [--work WORK] [--set KEY=VALUE] ...

lvd plans and closes steps, Ray places tasks. The work folder has to be one that all nodes see: a shared file system or s3://.
Killed at any point, the same command goes on.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter

import ray


def say(text):
    print(text, file=sys.stderr, flush=True)


def open_tasks(lvd, pipeline):
    """Closes what is whole, opens what can run, and returns its tasks."""
    found = subprocess.run([lvd, "plan", *pipeline, "--tasks", "json"], stdout=subprocess.PIPE, text=True)
    if found.returncode:
        sys.exit(found.returncode)
    return json.loads(found.stdout)["tasks"]


@ray.remote(max_retries=3)
def run(command):
    """One task on some node: its exit code, and what it said. Ray itself repeats one whose node is lost."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def run_all(tasks, cpus, at_once, tries):
    """Runs tasks, some thousands of them in Ray's hands at a time; returns those that failed too often, by id."""
    waiting, in_hand, tried, failed = list(reversed(tasks)), {}, Counter(), {}
    while waiting or in_hand:
        while waiting and len(in_hand) < at_once:
            task = waiting.pop()
            command = [*task["command"], "--threads", str(cpus)]
            in_hand[run.options(num_cpus=cpus, name=task["id"]).remote(command)] = task
        (ready,), _ = ray.wait(list(in_hand), num_returns=1)
        task = in_hand.pop(ready)
        try:
            code, said = ray.get(ready)
        except ray.exceptions.RayError as error:
            code, said = 1, str(error)
        if code == 0:
            continue
        tried[task["id"]] += 1
        if tried[task["id"]] < tries:
            waiting.append(task)
        else:
            failed[task["id"]] = said
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pipeline")
    parser.add_argument("--work")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--lvd", default="lvd", help="the program, as the nodes find it")
    parser.add_argument("--address", help="of the Ray cluster; left out: one is started on this machine")
    parser.add_argument("--cpus", type=int, default=1, help="of a task")
    parser.add_argument("--at-once", type=int, default=2000, help="tasks in Ray's hands")
    parser.add_argument("--tries", type=int, default=3)
    args = parser.parse_args()
    pipeline = [args.pipeline, *(word for text in args.set for word in ("--set", text))]
    pipeline += ["--work", args.work] if args.work else []
    ray.init(address=args.address, log_to_driver=False, include_dashboard=False)
    while tasks := open_tasks(args.lvd, pipeline):
        say(f"{len(tasks)} tasks of " + ", ".join(sorted({f"{task['step']}/{task['phase']}" for task in tasks})))
        failed = run_all(tasks, args.cpus, args.at_once, args.tries)
        for name, said in failed.items():
            say(f"{name} failed {args.tries} times:\n{said}")
        if failed:
            sys.exit(1)
    say("everything is up to date")


if __name__ == "__main__":
    main()
