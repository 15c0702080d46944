"""The local web page on job folders: what is read of a job, what is drawn of it, and who may see it."""
