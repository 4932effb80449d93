"""First names to choose from; which of them are single tokens is asked of the tokenizer, not assumed."""

MEN = (
    "Aaron Adam Alan Albert Alexander Andrew Anthony Arthur Ben Benjamin Bill Bob Brad Brandon Brian Bruce Carl Charles Chris "
    "Christopher Craig Dan Daniel David Dennis Donald Douglas Edward Eric Frank Fred Gary George Greg Gregory Harold Harry Henry "
    "Howard Ian Jack Jacob James Jason Jeff Jeffrey Jeremy Jerry Jim Joe John Jonathan Joseph Josh Joshua Justin Keith Kenneth "
    "Kevin Larry Lawrence Luke Marcus Mark Martin Matthew Michael Mike Nathan Neil Nicholas Nick Oliver Oscar Patrick Paul Peter "
    "Philip Ralph Raymond Richard Robert Roger Ronald Ryan Samuel Scott Sean Simon Stephen Steve Steven Stuart Ted Thomas Tim "
    "Timothy Todd Tom Tony Travis Victor Vincent Walter Wayne William"
).split()
WOMEN = (
    "Alice Amanda Amy Andrea Angela Anna Anne Barbara Beth Brenda Caroline Catherine Charlotte Christina Christine Claire Cynthia "
    "Deborah Diana Donna Dorothy Elizabeth Emily Emma Erin Eva Hannah Heather Helen Jane Janet Jennifer Jessica Joan Joyce Judy "
    "Julia Julie Karen Kate Katherine Kathleen Kimberly Laura Lauren Linda Lisa Louise Lucy Margaret Maria Marie Marilyn Martha "
    "Mary Megan Melissa Michelle Molly Nancy Natalie Nicole Olivia Pamela Patricia Rachel Rebecca Ruth Sally Samantha Sandra Sara "
    "Sarah Sharon Shirley Sophia Sophie Stephanie Susan Tara Teresa Tiffany Vanessa Victoria Wendy"
).split()
FIRST_NAMES = (*MEN, *WOMEN)
