"""Operations that only training needs: what the forward pass keeps, the backward pass, losses, the optimizer."""
