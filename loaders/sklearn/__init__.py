"""scikit-learn models, saved with joblib, pickle or skops."""
