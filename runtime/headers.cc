// What the precompiled headers are compiled with.
