"""Work that is cut into parts, and the engines that compute them: on this machine, or on many."""
