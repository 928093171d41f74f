"""Training the weights: LoRA adapters by reinforcement learning, where the reward is the judges' verdict."""
