"""What every training shares: ranks, launch, checkpoints, the audit before the first step, guards, stops and logs.

Public modules: `checkpoint`, `deepspeed`, `durable`, `guard`, `identity`, `launch`, `manifest`, `optim`, `preflight`,
`progress`, `ranks`, `resume`, `stage`, `stop`, `tracking`.
"""
