"""From sound to features: waveforms, filterbanks, voice activity, extraction."""
