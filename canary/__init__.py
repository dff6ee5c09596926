"""The rollout as a pure state machine, sequential tests, and the ports to the world. No I/O."""
