"""The loop without its protocols: the epoll set (reactor), the queues and the turn (schedule), handles and timers."""
