"""The benchmark of many pairs: sets of outliers by name, their stored scores, the matrix of pairs and scores."""
