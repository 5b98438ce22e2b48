"""The tour: what the introductions to VAEs talk about, each as a short experiment with a picture and a number.

Claim     Every claim of every item holds on the data that it names; `docs/tour.md` is written from what was measured.
Command   python -m experiments.tour [ITEM ...] [--data-dir DIR]      (or make tour; writes runs/tour/tour.html)
Expected  docs/tour.md, and the table of experiments/README.md
Time      8 minutes on two CPU cores that others were using too

telling       what an item is asked and what it tells
page          the items as one offline page, as docs/tour.md, and as a table
quiz          the questions of the texts, answered by numbers of the items
text/         the words of each item; numbers are filled in from what was measured
"""

ITEMS = (
    'heights',
    'prices',
    'discriminative',
    'techniques',
    'functions',
    'naive',
    'posterior',
    'mean_field',
    'curves',
    'reparameterization',
    'from_em',
    'helmholtz',
    'bayes',
    'autoencoders',
    'smoothness',
    'faces',
    'attributes',
    'adversaries',
    'conditional',
    'segmentation',
    'few_labels',
)
