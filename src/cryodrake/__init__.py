"""cryodrake: ab initio neural reconstruction of protein complexes from cryo-EM particle images.

Read in this order: physics (how an image forms), io and data (particles in and out), fields (the map as a neural
network), inference (the search for poses), training (the run), analysis (what came out), app (the commands).
"""

__version__ = "0.1.0"
