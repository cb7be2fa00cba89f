"""The sources of images, one kind of files a module."""
