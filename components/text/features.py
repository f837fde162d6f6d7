"""Names of the features that examples carry from one component to the next (the data contracts)."""

# Raw, written by ExampleGen. UTF-8 text.
INSTRUCTION = "instruction"
INPUT = "input"
OUTPUT = "output"
MESSAGES = "messages"  # JSON text of a chat record, see `components.text.conversation`; absent where there is none
EXAMPLE_ID = "example_id"  # hex digest of source and content
SOURCE = "source"  # name of the data file

# Tokenized, written by Tokenizer; text and slice columns are carried along.
TOKEN_IDS = "token_ids"  # int64[n]: prompt, response, end token
TARGET_MASK = "target_mask"  # int64[n]: 1 where the model has to write the token: the response, end token included
LENGTH = "length"  # int64[1]: n
PROMPT_LENGTH = "prompt_length"  # int64[1]: tokens before RESPONSE; in a conversation targets may be among them
TOKENS_CUT = "tokens_cut"  # int64[2]: tokens of the prompt, and of the response, that truncation took away
TEMPLATE_SPECIALS = "template_specials"  # int64[1]: special tokens that the template put there, before truncation
PROMPT = "prompt"  # the rendered prompt, cleaned; what the model completes
RESPONSE = (
    "response"  # the cleaned answer, without end token; what a completion is compared with. Others as good may follow.
)

# Scored, written by TokenScorer on the split that is cleaned.
TOKEN_INFLUENCE = (
    "token_influence"  # float32[n]: loss under the base model minus loss under the reference, nats; 0 off targets
)

# Transformed, written by Transform.
LOSS_WEIGHT = "loss_weight"  # float32[n]: weight of the token as a training target, 0 on the prompt
NUM_RESPONSE_TOKENS = (
    "num_response_tokens"  # int64[1]: targets before token cleaning, but for one at the very beginning
)

# Predicted, written by Predictor; text and slice columns are carried along. Each but the first is of the response's tokens.
COMPLETION = "completion"  # what the model writes after PROMPT; absent where no metric reads it
NLL_SUM = "nll_sum"  # float32[1]: sum of their losses, end token included, nats
TOKEN_COUNT = "token_count"  # float32[1]: how many they are
CORRECT_COUNT = "correct_count"  # float32[1]: how many of them the model ranks first
BYTE_COUNT = "byte_count"  # float32[1]: bytes of UTF-8 that they stand for
SCORES = (NLL_SUM, TOKEN_COUNT, CORRECT_COUNT, BYTE_COUNT)

# Of multiple choice, a list each: the answers to choose from, the losses of each (nats), and the places of those that are right.
CHOICES = "choices"
CHOICE_NLL = "choice_nll"
CHOICE_ANSWERS = "choice_answers"
