"""Sends orders through the example on a local AWS and tells how each ended.

    python orders.py [COUNT]        100 unless given; half in JSONPath, half in JSONata
    python orders.py 0              makes the queues and the state machines, and no order

Needs botocore, which comes with MiniStack. The local AWS is at AWS_ENDPOINT_URL, by default
http://127.0.0.1:4570. See docs/step-functions.md, "Try it". Not for an account of AWS: there the
queues and the state machine come from cloudformation.yaml.
"""

import json
import os
import pathlib
import sys
import time
from collections import Counter

import botocore.session

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL", "http://127.0.0.1:4570")
HERE = pathlib.Path(__file__).parent
QUEUES = ("high", "normal", "batch", "review", "decision")
LANES = ("high", "normal", "batch")


def client(service):
    return botocore.session.get_session().create_client(
        service,
        endpoint_url=ENDPOINT,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def machine(sfn, urls, language):
    """The ARN of the example in this query language, made if it is not there."""
    definition = (HERE / f"order.{language}.asl.json").read_text()
    for name, url in urls.items():
        definition = definition.replace("${%s_queue_url}" % name, url)
    name = f"order-{language}"
    for known in sfn.list_state_machines()["stateMachines"]:
        if known["name"] == name:
            return known["stateMachineArn"]
    role = "arn:aws:iam::000000000000:role/local"
    return sfn.create_state_machine(name=name, definition=definition, roleArn=role)["stateMachineArn"]


def ending(sfn, arn):
    """How an execution ended, or None while it runs."""
    execution = sfn.describe_execution(executionArn=arn)
    if execution["status"] == "RUNNING":
        return None
    history = sfn.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    entered = [e["stateEnteredEventDetails"]["name"] for e in history if "stateEnteredEventDetails" in e]
    return " ".join([execution["status"], entered[-1], execution.get("error", "")]).strip()


def main(count):
    sqs, sfn = client("sqs"), client("stepfunctions")
    urls = {name: sqs.create_queue(QueueName=f"tollgate-{name}")["QueueUrl"] for name in QUEUES}
    machines = [machine(sfn, urls, language) for language in ("jsonpath", "jsonata")]
    if count == 0:
        print("there are five queues and two state machines")
        return
    run, started, running = int(time.time()), time.monotonic(), {}
    for number in range(count):
        lane = LANES[number % 3]
        order = {
            "id": f"{run}-{number}",
            "amount": 5,
            "express": lane == "high",
            "nightly": lane == "batch",
        }
        arn = sfn.start_execution(
            stateMachineArn=machines[number % 2], input=json.dumps({"order": order})
        )["executionArn"]
        running[arn] = lane
    print(f"{count} orders are under way", flush=True)
    ends, last = Counter(), {}
    while running:
        for arn, lane in list(running.items()):
            end = ending(sfn, arn)
            if end is not None:
                del running[arn]
                ends[end] += 1
                last[lane] = time.monotonic() - started
        if running:
            print(f"  {count - len(running)} have ended", flush=True)
            time.sleep(1)
    print("how they ended:")
    for end, times in ends.most_common():
        print(f"  {times:5}  {end}")
    print("the last one of each queue:")
    for lane in LANES:
        if lane in last:
            print(f"  {lane:7} after {last[lane]:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
