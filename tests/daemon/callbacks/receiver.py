"""A receiver of webhooks that checks what it gets with the specification's own library, or, where
that cannot be had, with Python's hmac. What a path does is told by its first word:

/flaky  fails three in ten: 500, 503, or no answer at all to what it took
/door   503 until the file DOOR is there
/gone   410
/away   a redirect to a metadata address

It says its port, then one JSON object a line for each request. Arguments: SECRET DOOR.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import random
import sys
import threading

SECRET, DOOR = sys.argv[1:]
DICE = random.Random(7)
LOCK = threading.Lock()


def by_hand(body, headers):
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [one.partition(",") for one in headers["webhook-signature"].split(" ")]
    if not any(version == "v1" and hmac.compare_digest(one, expected) for version, _, one in given):
        raise ValueError("no signature fits")
    return json.loads(body)


try:
    import standardwebhooks

    LIBRARY = standardwebhooks.Webhook(SECRET)
    verify, KIND = (lambda body, headers: LIBRARY.verify(body, headers)), "standardwebhooks"
except ImportError:
    verify, KIND = by_hand, "hmac"


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        word = self.path.split("?")[0].split("/")[1]
        try:
            event, fault = verify(body, headers), None
            by_hand(body, headers)
        except Exception as error:
            event, fault = {}, repr(error)
        with LOCK:
            dice = DICE.random()
        status = 204
        if word == "flaky" and dice < 0.3:
            status = 500 if dice < 0.1 else 503 if dice < 0.2 else 0
        elif word == "door" and not os.path.exists(DOOR):
            status = 503
        elif word == "gone":
            status = 410
        elif word == "away":
            status = 302
        line = {"path": self.path, "id": headers.get("webhook-id"), "status": status, "fault": fault,
                "type": event.get("type"), "data": event.get("data"), "kind": KIND,
                "signatures": len(headers.get("webhook-signature", "").split(" "))}
        with LOCK:
            print(json.dumps(line), flush=True)
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        if status == 302:
            self.send_header("location", "http://169.254.169.254/latest/meta-data/")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
