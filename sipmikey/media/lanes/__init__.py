"""Streams that run without the interpreter: where no packet needs judgement, the native core handles them.

A stream is steady when its keys are in use in both directions and none waits to replace one. Its packets are
then read, authenticated, counted, made and sent by the native core. What is not as it should be, RTCP
included, goes to the stream in Python; so does all while the native core is not installed.
"""
