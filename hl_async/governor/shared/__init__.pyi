from hl_async.governor.shared.memory import MemoryBudget as MemoryBudget
from hl_async.governor.shared.messages import BudgetStore as BudgetStore
from hl_async.governor.shared.postgres import PostgresBudget as PostgresBudget
from hl_async.governor.shared.scopes import shared_scopes as shared_scopes
