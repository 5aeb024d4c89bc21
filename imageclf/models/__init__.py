"""Networks and the classifier around them."""
