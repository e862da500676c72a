"""A kit for automated tests of calls: agents in processes of their own, a KMS, a SIP proxy, and faults.

The pytest plugin is `sipmikey.testing.plugin`; what it is made of can be used without pytest.
"""

from sipmikey.testing.agent_driver import AgentCrashed, AgentProcess, CallRefused, TestFailure
from sipmikey.testing.agents import AgentPool, AgentSettings, TestAgent, TestGroup
from sipmikey.testing.determinism import FakeClock, seeded_environment
from sipmikey.testing.external import Own, OwnKms, PhoneUnderTest
from sipmikey.testing.kamailio import Kamailio
from sipmikey.testing.kms import KmsDirectory, TestKms
from sipmikey.testing.mailbox import MailboxDirectory, TestMailbox
from sipmikey.testing.stage import Stage
from sipmikey.testing.switchboard import Switchboard

__all__ = [
    "AgentCrashed",
    "AgentPool",
    "AgentProcess",
    "AgentSettings",
    "CallRefused",
    "FakeClock",
    "Kamailio",
    "KmsDirectory",
    "MailboxDirectory",
    "Own",
    "OwnKms",
    "PhoneUnderTest",
    "Stage",
    "Switchboard",
    "TestAgent",
    "TestFailure",
    "TestGroup",
    "TestKms",
    "TestMailbox",
    "seeded_environment",
]
