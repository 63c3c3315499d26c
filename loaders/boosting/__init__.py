"""Boosted trees: XGBoost, LightGBM, CatBoost."""
