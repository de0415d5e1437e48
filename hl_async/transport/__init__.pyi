from hl_async.transport.session import SessionManager as SessionManager
