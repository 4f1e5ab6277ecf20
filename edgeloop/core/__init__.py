"""The loop without its protocols: the epoll set (reactor), what is to run and the turn (scheduling, schedule), timers."""
