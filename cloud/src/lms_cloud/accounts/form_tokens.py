"""Form tokens: what only a page of ours can know, bound to the cookie that the browser sends by itself.

web/csrf.py asks for them; the answer to a login carries the first one.
"""

import hashlib
import hmac

from lms_cloud.kernel.keys import derive_key
from lms_cloud.kernel.settings import CloudSettings


def form_token(settings: CloudSettings, bound_to: str) -> str:
    """The token for forms of the browser whose cookie is `bound_to`."""
    key = derive_key(settings.require_secret_key(), "form token v1")
    return hmac.new(key, bound_to.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
