from promptlearn_app.run import page

page()
