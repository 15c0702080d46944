"""Fields: maps V(k) as functions of frequency, neural or gridded, and how they are fitted and rasterised."""
