"""The search for better parameters: what may be proposed, and the study that keeps what was tried."""
