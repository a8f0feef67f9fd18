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


def passes(mail, index):
    try:
        return bool(dkim.DKIM(mail).verify(idx=index, dnsfunc=txt))
    except dkim.DKIMException as refused:
        print(f"signature {index}: {refused}", file=sys.stderr)
        return False


def verified(mail):
    fields = dkim.DKIM(mail).headers
    count = sum(1 for name, _ in fields if name.lower() == b"dkim-signature")
    return [passes(mail, index) for index in range(count)]


json.dump([verified(base64.b64decode(mail)) for mail in asked["mails"]], sys.stdout)
