from .images import Encoded as Encoded
from .normality import Normality as Normality
from .normality import Text as Text
from .result import Result as Result
from .settings import EncoderSettings as EncoderSettings
from .settings import NandError as NandError
from .settings import PromptSettings as PromptSettings
from .settings import SuppressionSettings as SuppressionSettings
