"""Run the agent until standard input ends."""

from sipmikey.testing.agent_process import run

if __name__ == "__main__":
    run()
