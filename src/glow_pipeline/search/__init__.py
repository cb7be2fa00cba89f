"""The search for better parameters: ranges, the study that records all trials, and runs of trials."""
