from promptlearn_app.reviews import page

page()
