"""What the README's claims are measured with. Needs torch, transformers, peft, scikit-learn and `tokensieve`, no orchestration."""
