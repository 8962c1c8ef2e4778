"""Speech emotion recognition with frontend attribute disentanglement.

The package behind the scripts of ``steps/`` and ``local/``. It knows data directories, features,
networks and scores; it parses no command line and knows no corpus by name.
"""
