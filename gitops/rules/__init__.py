"""Who may replace whom, when: order, promotion, freeze and automatic rollback as pure functions."""
