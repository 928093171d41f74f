from promptlearn_app.runs import page

page()
