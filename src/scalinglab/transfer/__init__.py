"""What a trained model is good for beyond itself: neighbours in stored text, a low-rank update, a teacher. No paths."""
