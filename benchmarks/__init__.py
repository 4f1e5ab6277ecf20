"""Event loops compared in one run, against each other and against an epoll server in C. See README.md."""
