"""A receiver that is not ours: dkimpy verifies every DKIM-Signature of the mails on standard input.

In: {"records": {"s1._domainkey.example.com": "v=DKIM1; …"}, "mails": ["base64", …]}
Out: one list a mail, one boolean a signature.
"""

import base64
import json
import sys

import dkim

asked = json.load(sys.stdin)


def txt(name, timeout=5):
    """The DNS, from the table."""
    return asked["records"].get(name.decode().rstrip("."), "").encode()


def verified(mail):
    signed = dkim.DKIM(mail)
    count = sum(1 for name, _ in signed.headers if name.lower() == b"dkim-signature")

    def passes(index):
        try:
            return bool(signed.verify(idx=index, dnsfunc=txt))
        except dkim.DKIMException as refused:
            print(f"signature {index}: {refused}", file=sys.stderr)
            return False

    return [passes(index) for index in range(count)]


json.dump([verified(base64.b64decode(mail)) for mail in asked["mails"]], sys.stdout)
