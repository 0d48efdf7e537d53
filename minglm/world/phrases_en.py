"""What people say around a poster in English: the words and patterns of which captions_en.py is made.

In a pattern {c} is a colour, {n} what the sheet is called, {q} a quoted text.
"""

from __future__ import annotations

SHEETS = ("poster",) * 8 + (
    "sign", "card", "flyer", "banner", "picture", "image", "sticker", "cover", "postcard",
    "greeting card", "notice", "design", "billboard", "wallpaper", "label", "graphic",
    "illustration", "invitation", "leaflet", "page")
BACKGROUND = ("on {c}", "background: {c}", "background {c}", "{c} bg", "make it {c}", "all {c}", "in {c}",
              "{c}", "bg {c}", "the background is {c}", "the background should be {c}",
              "make the background {c}", "everything in {c}", "the {n} should be {c}", "colour: {c}",
              "backdrop in {c}", "set on {c}", "{n}: {c}", "against {c}", "{c} all over",
              "I want it {c}", "use {c} for the background", "{c} please", "painted {c}")
ASK = ("Draw", "Paint", "Make", "Design", "Create", "Generate", "I want", "I need", "I'd like", "Give me",
       "Show me", "Please draw", "Please make", "Please design", "Can you make", "Could you create",
       "Could you please draw", "Can I have", "Can I get", "Make me", "Draw me", "Create me", "We need",
       "I'm looking for", "Looking for", "Need", "Render", "Produce", "Help me make", "Let's make",
       "Let's have", "How about", "Try", "pls make", "plz draw", "gimme", "Would you draw",
       "It should be", "I am after", "Do", "I would love")
BEFORE = ("Hi!", "Hello,", "Hey,", "ok so", "Quick one:", "For class:", "For my shop:", "Test:",
          "Urgent:", "My idea:", "Something simple:", "For tomorrow:", "Next one:", "For the kids:",
          "For our party,", "Small request:", "Here is what I need:", "As discussed,",
          "For the school fair,", "One more time:")
AFTER = ("thanks", "thank you", "please", "thanks!", "for my daughter's birthday", "for the office",
         "for our shop", "for school", "make it pop", "keep it simple", "minimalist", "flat style",
         "high quality", "very detailed", "4k", "cute style", "cartoon style", "vintage look",
         "modern look", "nice and clean", "professional", "for social media", "as soon as possible",
         "nothing else", "watercolor style", "in a playful style", "with lots of space", "easy to read",
         "big and clear", "retro", "pixel art", "trending", "hand-drawn feel", "for the fridge",
         "for the door", "for the window", "to print on A4", "for a friend", "for Monday", "for mom",
         "bold typography", "with good contrast", "friendly", "elegant", "so everyone can see it",
         "that looks fun", "for our website", "for the team", "ready to print", "no border",
         "centered composition")
LOOKS = ("cute", "happy", "funny", "smiling", "lovely", "beautiful", "realistic", "cartoon",
         "shiny", "simple", "nice", "friendly", "pretty", "old", "young", "sleepy", "angry", "fluffy",
         "chubby", "fancy", "magical", "cool", "hand-drawn", "3D", "flat", "minimal",
         "adorable", "vintage", "fresh", "delicious", "famous")
DOING = ("wearing a scarf", "wearing sunglasses", "wearing a hat", "having fun", "looking at the viewer",
         "dancing", "that looks happy", "with a big smile", "in a good mood", "floating", "jumping",
         "sleeping", "in cartoon style", "as the mascot", "for decoration", "having a party",
         "that everybody loves", "in the style of a stamp")
PLACE = {
    "left": ("on the left", "at the left", "on the left side", "to the left", "on the left-hand side",
             "left"),
    "right": ("on the right", "at the right", "on the right side", "to the right",
              "on the right-hand side", "right"),
    "centre": ("in the centre", "in the middle", "in the center", "centered", "at the center",
               "right in the middle"),
    "top": ("at the top", "on top", "up top", "at the very top", "in the upper part", "above", "top"),
    "bottom": ("at the bottom", "at the very bottom", "in the lower part", "down at the bottom", "below",
               "bottom"),
}
SIZE = {"small": ("small", "tiny", "little", "mini"), "big": ("big", "large", "huge", "giant", "very large")}
WRITE = ("the words {q}", "the word {q}", "the text {q}", "text {q}", "words {q}", "{q}", "{q}", "{q}",
         "the title {q}", "the headline {q}", "the slogan {q}", "the caption {q}", "the message {q}",
         "the phrase {q}", "the line {q}", "the letters {q}", "lettering {q}", "the writing {q}",
         "a title {q}", "a caption {q}", "the label {q}")
SAY = ("it says {q}", "it reads {q}", "saying {q}", "that says {q}", "reading {q}", "which reads {q}",
       "that reads {q}", "the text says {q}", "the text reads {q}", "the text is {q}", "write {q}",
       "put {q} on it", "add {q}", "add the text {q}", "with {q} written on it", "with {q}",
       "with the words {q}", "with the text {q}", "with text {q}", "with a title that says {q}",
       "titled {q}", "captioned {q}", "caption: {q}", "text: {q}", "title: {q}", "and write {q}",
       "and it should say {q}", "it should say {q}", "I want it to say {q}", "the message is {q}",
       "{q} in big letters", "{q} is written on it", "please write {q}", "label it {q}",
       "with the slogan {q}", "with the phrase {q}", "containing the text {q}", "bearing the words {q}",
       "{q}")
