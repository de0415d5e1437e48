"""Internal. A migration besides its documents: contacts, payments and states.

Contacts come before the documents, payments and states after them. Every stage keeps its work as *steps* in the run's
journal (`steps`), and sends its requests by the protocol of documents: the intent is durable before the first byte, a
request without an answer is settled and then asked about, and nothing is sent twice.
"""
