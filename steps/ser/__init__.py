"""Speech emotion recognition with frontend attribute disentanglement.

The package that the scripts of ``steps/`` and ``local/`` use. It knows data directories, features,
networks and scores; it parses no command line and knows no corpus by name.

A trained model is used with::

    from ser import load_model
    print(load_model("exp/vgg5_ad/fold_Ses01M").predict("x.wav").label)
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "load_model":  # importing the package loads nothing that it may not need
        from ser.infer.prediction import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
