from promptlearn_app.tuning import page

page()
