"""Statistics of images from one pass of the flow and from codecs: functions of a batch, which scores share."""
