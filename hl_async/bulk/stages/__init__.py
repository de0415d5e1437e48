"""Internal. What a migration does besides its documents: contacts before them, payments and states after them.

Every stage keeps its work as *steps* in the run's journal (`steps`), and sends each of its requests by the same
protocol as documents: the intent is durable before the first byte, a request without an answer is settled and then
asked about, and nothing is sent twice.
"""
