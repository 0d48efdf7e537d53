"""What people say to have a picture edited, in English: the patterns of which instructions_en.py is made.

In a pattern {t} is the text that changes, {q} a quoted new text, {c} a colour, {a} a colour with its article,
{b} the background as it was, {o} the object that changes, {n} a new one, {m} and {k} how many there were and
will be, {more} and {less} the difference, {x} another object, {p} and {to} a place, {d} details, {l} a
language, {r} a translation, {s} a style. DO begins with a verb, so that it can be asked for politely.
"""

from __future__ import annotations

DO = {
    "background": (
        "make the background {c}", "change the background to {c}", "change the background colour to {c}",
        "turn the background {c}", "paint the background {c}", "set the background to {c}",
        "put it on {a} background", "give it {a} background", "use {a} background",
        "fill the background with {c}", "change the background from {b} to {c}",
        "replace the {b} background with {a} one", "make it {c}", "switch the background to {c}",
        "recolour the background in {c}", "swap the background for {a} one",
        "change the {b} behind it to {c}", "have {a} background"),
    "recolour text": (
        "make {t} {c}", "change {t} to {c}", "turn {t} {c}", "recolour {t} in {c}", "write {t} in {c}",
        "change the colour of {t} to {c}", "set {t} in {c}", "use {c} for {t}", "paint {t} {c}",
        "color {t} {c}", "switch {t} to {c}", "make the colour of {t} {c}", "give {t} the colour {c}"),
    "replace text": (
        "change {t} to {q}", "replace {t} with {q}", "replace {t} by {q}", "write {q} instead of {t}",
        "change {t} into {q}", "rewrite {t} as {q}", "make {t} say {q}", "swap {t} for {q}",
        "edit {t} to read {q}", "turn {t} into {q}", "put {q} in place of {t}", "make it say {q}",
        "let it say {q}", "write {q} instead", "change what it says to {q}", "substitute {q} for {t}"),
    "add text": (
        "add {q}{d}", "add the text {q}{d}", "write {q}{d}", "put {q} on it{d}", "add the words {q}{d}",
        "also write {q}{d}", "print {q}{d}", "add a line that says {q}{d}", "add a caption: {q}{d}",
        "add a title {q}{d}", "put the words {q} on it{d}", "include the text {q}{d}", "insert {q}{d}",
        "write {q} on it{d}", "label it {q}{d}", "{p} add {q}", "{p} write {q}"),
    "remove text": (
        "remove {t}", "delete {t}", "erase {t}", "take {t} away", "take out {t}", "get rid of {t}",
        "leave out {t}", "drop {t}", "wipe {t} off", "clear {t}", "cut {t}", "lose {t}", "take {t} off"),
    "move text": (
        "move {t} {to}", "put {t} {p}", "place {t} {p}", "shift {t} {to}", "bring {t} {to}", "write {t} {p}",
        "set {t} {p}", "move {t} so that it is {p}", "drag {t} {to}", "push {t} {to}", "relocate {t} {to}"),
    "translate text": (
        "translate {t} into {l}{r}", "translate {t} to {l}{r}", "put {t} into {l}{r}", "write {t} in {l}{r}",
        "change {t} to {l}{r}", "turn {t} into {l}{r}", "make {t} {l}{r}", "give me {t} in {l}{r}",
        "translate {t}{r}", "switch {t} to {l}{r}"),
    "swap object": (
        "replace {o} with {n}", "replace {o} by {n}", "change {o} to {n}", "swap {o} for {n}",
        "turn {o} into {n}", "put {n} in place of {o}", "exchange {o} for {n}", "draw {n} instead of {o}",
        "use {n} instead of {o}", "make {o} {n}", "put {n} in the place of {o}", "trade {o} for {n}"),
    "move object": (
        "move {o} {to}", "put {o} {p}", "place {o} {p}", "shift {o} {to}", "slide {o} {to}", "set {o} {p}",
        "bring {o} {to}", "push {o} {to}", "draw {o} {p}", "drag {o} {to}", "reposition {o} {p}"),
    "add object": (
        "add {n}{d}", "put {n} on it{d}", "draw {n}{d}", "place {n} on it{d}", "also show {n}{d}",
        "include {n}{d}", "put {n} next to {x}", "add {n} beside {x}", "give {x} company: {n}",
        "paint {n}{d}", "throw in {n}{d}", "insert {n}{d}", "add {n} to it{d}", "{p} add {n}"),
    "remove object": (
        "remove {o}", "delete {o}", "erase {o}", "take {o} away", "take out {o}", "get rid of {o}",
        "leave out {o}", "drop {o}", "cut {o} out", "make {o} disappear", "lose {o}", "wipe {o} out"),
    "recount object": (
        "make it {k}", "draw {k} instead of {m}", "change {m} to {k}", "turn {m} into {k}", "show {k}",
        "make that {k}", "replace {m} with {k}", "add {more}", "draw {more}", "put {more} on it",
        "remove {less}", "take away {less}", "keep only {k}", "leave only {k}", "change the number: {k}"),
    "restyle": (
        "turn it into {s}", "make it {s}", "redraw it as {s}", "convert it to {s}", "draw it as {s}",
        "change it into {s}", "restyle it as {s}", "make {s} of it", "render it as {s}",
        "turn the whole poster into {s}", "give me {s} of it", "show it as {s}"),
}
SAY = {
    "background": (
        "{c} background", "{c} background instead", "background: {c}", "background {c}", "background in {c}",
        "the background should be {c}", "I want {a} background", "I'd prefer {a} background",
        "{c} instead of {b} for the background", "how about {a} background?", "on {c} instead", "{c} bg",
        "not {b}, {c} behind it", "with {a} background", "the background in {c}", "{c}, not {b}",
        "{a} background would be nicer", "bg {b} -> {c}", "{c} is better than {b} for the background"),
    "recolour text": (
        "{t} in {c}", "{t} should be {c}", "I want {t} in {c}", "{c} for {t}", "{t}: {c}",
        "{t} in {c} instead", "{t} must be {c}", "{t} would look better in {c}", "I'd like {t} to be {c}",
        "{c}, that is for {t}", "in {c}, {t}", "{t} -> {c}"),
    "replace text": (
        "{t} should say {q}", "{q} instead of {t}", "{t} -> {q}", "{t} → {q}", "it should say {q}",
        "I want it to say {q}", "not {t} but {q}", "no longer {t}, it should be {q}", "new text: {q}",
        "text: {q}", "now with {q}", "{q} and not {t}", "{q} in place of {t}",
        "instead of {t} it should read {q}", "the text should be {q}", "it must read {q}"),
    "add text": (
        "{q}{d} too", "I also want {q}{d}", "with {q}{d}", "plus {q}{d}", "also {q}{d}", "and {q}{d}",
        "there should also be {q}{d}", "the words {q} are missing", "it should also say {q}{d}", "{q}{d}",
        "{p}: {q}", "I'd like to have {q} on it{d}", "one more text, {q}{d}"),
    "remove text": (
        "without {t}", "I don't want {t}", "{t} should go", "{t} can go", "I don't need {t}",
        "no need for {t}", "{t} must go", "away with {t}", "but without {t}", "no more of {t}"),
    "move text": (
        "{t} {p}", "{t} should be {p}", "I want {t} {p}", "{t} {p} instead", "better {t} {p}",
        "{t} would be better {p}", "{t} should stand {p}", "I'd rather have {t} {p}"),
    "translate text": (
        "{t} in {l}{r}", "I need {t} in {l}{r}", "{t} should be in {l}{r}", "I want {t} in {l}{r}",
        "in {l}: {t}{r}", "{l} instead of {f}, {t}{r}", "{t} -> {l}{r}", "we need a {l} version of {t}{r}"),
    "swap object": (
        "{n} instead of {o}", "not {o} but {n}", "I want {n} instead of {o}", "{n} rather than {o}",
        "{o} should be {n}", "{n}, not {o}", "{o} -> {n}", "I'd prefer {n} to {o}", "{n} in place of {o}"),
    "move object": (
        "{o} {p}", "{o} should be {p}", "I want {o} {p}", "{o} {p} instead", "better {o} {p}",
        "{o} would be better {p}", "{o} should stand {p}", "I'd rather have {o} {p}"),
    "add object": (
        "{n}{d} too", "I also want {n}{d}", "with {n}{d}", "plus {n}{d}", "and {n}{d}", "also {n}{d}",
        "there should be {n}{d}", "{n} next to {x}", "I'd like {n} on it{d}", "+ {n}", "{p}: {n}"),
    "remove object": (
        "without {o}", "I don't want {o}", "{o} should go", "{o} can go", "I don't need {o}", "{o} must go",
        "no need for {o}", "away with {o}", "but without {o}"),
    "recount object": (
        "{k} instead of {m}", "{k}", "there should be {k}", "I want {k}", "{k}, not {m}", "{more}",
        "I'd like {more}", "only {k}", "{m} -> {k}", "not {m} but {k}", "make that {k}"),
    "restyle": (
        "as {s}", "{s}", "I want {s}", "like {s}", "now as {s}", "it should be {s}", "how about {s}?",
        "could this be {s}?", "I'd love {s} of this"),
}
STYLED = {
    "outline": ("a line drawing", "an outline drawing", "a drawing of outlines", "line art", "a sketch",
                "an outline", "a pencil drawing", "black lines on white"),
    "pixel art": ("pixel art", "a pixel art version", "an 8-bit picture", "a pixelated picture",
                  "retro pixels", "a picture of big pixels", "8-bit pixel art"),
    "inverted": ("a negative", "a photo negative", "an inverted version", "a version with inverted colours",
                 "a picture in opposite colors", "an inverted palette"),
}
INVERT = ("invert the colours", "invert all colors", "invert it", "flip the palette",
          "swap every colour for its opposite", "invert the palette", "turn the colours around")
ASK = ("{x}",) * 14 + (
    "please {x}", "please {x}", "can you {x}?", "could you {x}?", "could you please {x}?", "would you {x}?",
    "can you please {x}?", "I want you to {x}", "I'd like you to {x}", "let's {x}", "just {x}", "now {x}",
    "pls {x}", "plz {x}", "go ahead and {x}", "help me {x}", "I need you to {x}", "in this picture {x}",
    "on this poster, {x}", "{x} please", "{x}, please", "in the image, {x}", "you could {x}", "try to {x}",
    "what if you {x}?", "you know what, {x}", "we should {x}", "next, {x}")
BEFORE = ("Hi!", "Hello,", "Hey,", "ok so", "One more thing:", "Small change:", "Almost there.", "Nice!",
          "Looks good.", "Great, but", "Good start.", "Hmm.", "Quick edit:", "Next:", "I changed my mind:",
          "One last change.", "For the shop:", "My boss says:", "Edit:", "Sorry,")
THANKS = ("thanks", "thank you", "please", "thanks!", "thx", "as soon as possible", "if you can",
          "that would be great", "and that's it", "that's all", "many thanks", "for tomorrow", "cheers")
REST = ("keep the rest", "leave the rest as it is", "nothing else", "the rest stays", "don't touch the rest",
        "everything else stays", "and keep everything else", "leave all else alone", "no other changes",
        "the rest is fine", "change nothing else", "the rest is good")
WHOLE = ("the text", "the words", "the writing", "all the text", "all of the text", "every word",
         "the lettering", "all words", "the letters")
ONLY = ("the text", "the text", "the words", "the writing", "the lettering", "the letters")
NAMED = ("{q}",) * 5 + ("the text {q}", "the word {q}", "the words {q}", "the line {q}",
         "the text that says {q}",
                        "the part that says {q}")
TO = {"left": ("to the left", "to the left", "to the left side", "over to the left"),
      "right": ("to the right", "to the right", "to the right side", "over to the right"),
      "centre": ("to the centre", "to the middle", "to the center", "into the middle"),
      "top": ("to the top", "to the top", "up", "up to the top", "to the very top"),
      "bottom": ("to the bottom", "to the bottom", "down", "down to the bottom", "to the very bottom")}
PICTURES = ("the {o} picture", "the {o} image", "picture {i}", "image {i}", "the {o} poster", "the {o} one",
            "Picture {i}", "image #{i}", "the {o}", "poster {i}")
ORDINALS = ("first", "second", "third", "fourth")
COMBINE = ("combine {i}", "put {i} together", "make one poster with {i}", "make a poster of {i}", "merge {i}",
           "join {i} on one poster", "make one picture out of {i}", "create a poster with {i}",
           "bring {i} together", "take {i}", "put {i} on one poster", "show {i}", "draw {i}", "mix {i}",
           "use {i}")
COMBINED = ("one poster with {i}", "{i}", "{i} in one picture", "I want {i}", "a poster with {i}",
            "{i}, all on one sheet", "new poster: {i}", "I'd like a picture of {i}")
KEEP = ("put {o} {w}", "show {o} {w}", "place {o} {w}", "take {o} and put {it} {w}", "draw {o} again {w}",
        "make a poster of {o} {w}", "use {o} {w}", "keep {o} and put {it} {w}", "paint {o} {w}")
KEPT = ("{o} {w}", "{o}, but {w}", "I want {o} {w}", "{o} again, {w}", "exactly {o} {w}", "I need {o} {w}")
