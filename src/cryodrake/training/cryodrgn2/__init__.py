"""`abinit --preset cryodrgn2`: the published algorithm of cryoDRGN2, beside our own (Zhong et al. 2021, ICCV, p. 4066).

A network is trained by Adam on the images at the poses last found, and every fifth epoch finds all poses anew by a search from
coarse to fine against the network as it is. With states, the network is the decoder of a variational autoencoder.

Where this is not theirs, by intention: images are normalised and windowed as all of cryodrake's are (`data.images`), and only
then brought to one global standard deviation; images are searched some hundreds at a time (`Schedule.block`), after which the
network is trained on them, not sixteen at a time; nested children are of our own grid, at the centres of its cells; the search
reads a raster of the network, unless `--exact-search` asks for the network itself. Left out are its defects: poses are part
of every checkpoint, CTFs may be missing or astigmatic, and rows of a table of states move only with their own images.
"""
